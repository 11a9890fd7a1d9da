"""The operator's hand: the command line, the Compose reader and the public client library.

It asks controllers and agents over the bus and shows what they answer; it never decides where anything runs and never
writes the state stream (but for `init` and `dev`, which create it). It may import every other room; nobody imports it.
Only `bus.nats*` is reached through `bus.port`: this room knows no header of NATS and never imports docker.

Start reading at `meshctl.client` (what can be asked), then `meshctl.main` (how commands are found) and one module of
`meshctl.commands`; `meshctl.format` and `meshctl.views` are pure and turn answers into text.
"""
