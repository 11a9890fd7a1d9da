"""The flags of `service create` and `service update`: one table of them, and pure functions that apply them to a spec.

A flag is told once (`meshctl.flags.table`); click options are made from that and values go where its path says. Nothing
here asks the mesh. Start reading at `meshctl.flags.table`, then `meshctl.flags.applying`.
"""
