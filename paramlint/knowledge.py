"""Loads and validates what `rules/` knows: roles, policies, optimizer profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from paramlint.profile import Policy, Profile, Role


@dataclass(frozen=True)
class Knowledge:
    """Everything in `rules/`, with a project's own folders laid over it."""

    roles: Mapping[str, Role]
    policies: Mapping[str, Policy]
    profiles: Mapping[str, Profile]
