"""A monitor in twenty lines: tells what went wrong, each once, and goes on where it was left after a restart.

    python examples/monitor.py [CONTEXT]
"""

import asyncio
import sys

from meshctl.client import Mesh

WATCHED = ("task.failed", "node.down", "rollout.failed", "brake.engaged")


async def main() -> None:
    async with Mesh.connect(sys.argv[1] if sys.argv[1:] else None) as mesh:
        status = await mesh.status()
        print(f"{status.mesh_id}: {status.nodes_ready} of {status.nodes} nodes ready, led by {status.leader}", flush=True)
        async for event in mesh.events(kinds=WATCHED, cursor="example-monitor"):
            print(event.at, event.kind, event.service or event.node, event.why, flush=True)


asyncio.run(main())
