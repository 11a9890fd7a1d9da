"""A case for every row of the list of keys."""

from __future__ import annotations

from tests.unit.compose import container_cases, deploy_cases, refused_cases
from tests.unit.compose.cases import Cases

CASES = Cases(container_cases.CASES | deploy_cases.CASES | refused_cases.CASES)
