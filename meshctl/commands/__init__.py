"""One module per noun: click groups that parse options, ask the mesh through `meshctl.session` and print.

A command holds no logic of its own: rows are made in `meshctl.views`, text in `meshctl.format`, specs in
`meshctl.flags`. Modules are imported only when their noun is called (`meshctl.lazy`). Only `meshctl.main` names them.
"""
