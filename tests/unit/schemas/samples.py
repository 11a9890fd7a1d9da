"""A filled value of any struct, made from its type: every field is set, mostly to something else than its default."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import inspect as shape


def sample(kind: type) -> Any:
    """One value of `kind`."""
    return _of(shape.type_info(kind))


def _of(info: shape.Type) -> Any:
    match info:
        case shape.StructType():
            return info.cls(**{field.name: _of(field.type) for field in info.fields})
        case shape.UnionType():
            return _of(next(each for each in info.types if not isinstance(each, shape.NoneType)))
        case shape.LiteralType():
            return max(info.values, key=str)
        case shape.StrType():
            return "web" if info.pattern else "text"
        case shape.BoolType():
            return True
        case shape.IntType():
            return 7
        case shape.FloatType():
            return 1.5
        case shape.BytesType():
            return b"\x00\xff"
        case shape.DictType():
            return {_of(info.key_type): _of(info.value_type)}
        case shape.VarTupleType() | shape.ListType():
            made = [_of(info.item_type)]
            return tuple(made) if isinstance(info, shape.VarTupleType) else made
        case shape.TupleType():
            return tuple(_of(each) for each in info.item_types)
        case shape.RawType():
            return msgspec.Raw(b'{"any":1}')
        case shape.AnyType():
            return {"any": 1}
        case _:
            raise TypeError(f"no sample of {info}")
