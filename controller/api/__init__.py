"""What people and agents ask the controllers: one module for each noun, any controller serves any request.

Handlers decide from the mirror and write by compare-and-set in one atomic batch; they never write what the leader owns.
Start reading at `controller.api.desk` (reading and writing), then `controller.api.server`, then a noun.
"""
