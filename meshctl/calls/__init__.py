"""The calls of the public client, by what they are about; `meshctl.client.Mesh` is made of them.

Each sends one request and gives its answer. They hold nothing; whoever uses them imports `meshctl.client`.
Start reading at `meshctl.calls.asker`.
"""
