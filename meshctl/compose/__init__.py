"""The Compose reader: files a person wrote become `ServiceDeploy`s, or one error that lists what is wrong.

Three outcomes per key, no fourth: honoured, no effect (one warning), refused (file, line, key, remedy). The one list
of keys is `meshctl.compose.keys`; docs/COMPOSE.md is made from it. Never asks the mesh, never starts anything; only
`sources` touches files. Used by meshctl's commands alone. Start reading at `meshctl.compose.load`.
"""
