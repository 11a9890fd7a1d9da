"""Decides what runs where: election, observe, plan (pure), placement (pure), commit, and the api.

It never talks to an engine and never imports the agent. Deciding modules (`world`, `plan`, `placement`, `liveness`,
`slots`, ...) have no asyncio, clock, randomness, logging or I/O. Start reading at `controller.world`, then
`controller.plan`, then `controller.leader` (the loop).
"""
