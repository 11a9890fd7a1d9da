"""From the mesh's answers to rows and words: one module per noun, pure.

Field names of rows are Docker's (`Name`, `CurrentState`), so that templates written for docker go on working; fields
that Docker has not got come after them. Nothing here prints or asks. Start reading at `meshctl.views.tasks`.
"""
