"""A recovery as people see it before it is done. Pure."""

from __future__ import annotations

from meshctl.recovery import Found, Recovery


def recovery_lines(recovery: Recovery, found: Found) -> list[str]:
    """What will be written and why, and what to know before saying yes."""
    mesh = recovery.mesh
    kept = [record for record in recovery.records if not record.why]
    made = [record for record in recovery.records if record.why]
    lines = [
        f"mesh {mesh.mesh_id}: generation {mesh.generation}, from {mesh.why}",
        f"its sequences begin at {recovery.first_sequence}, above all that anybody has seen",
        f"{len(found.views)} nodes answer{_names(found.views)}, {len(found.silent)} are silent{_names(found.silent)}",
        f"{len(kept)} records as the backup has them{':' if made else ''}",
    ]
    if made:
        lines[-1] = f"{len(kept)} records as the backup has them, and these:"
        width = max(len(record.key) for record in made)
        lines += [f"  {record.key:<{width}}  {record.why}" for record in made]
    lines += [f"note: {warning}" for warning in recovery.warnings]
    if found.leader:
        lines.append(f"note: {found.leader} leads this mesh and finds nothing wrong with its store")
    return lines


def _names(names: object) -> str:
    listed = sorted(names)  # type: ignore[call-overload]
    return f" ({', '.join(listed[:10])}{', ...' if len(listed) > 10 else ''})" if listed else ""
