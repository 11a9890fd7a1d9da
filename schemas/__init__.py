"""The language of the mesh: records, messages, subjects, errors and their codec.

Data only: no I/O, no asyncio, no clock, no decisions. Every room may import it; it imports msgspec alone.
Start reading at `schemas.records` (what stands on the bus), then `schemas.spec` (what a service is). In each
subclass of `Wire` `frozen` and `kw_only` are repeated: type checkers do not inherit them.
"""
