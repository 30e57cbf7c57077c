"""Exercises of lesson 24, More than one process: all of them checked in one."""

from __future__ import annotations

from . import all_reduce, buckets, factors, first_split, save_whole, shard

__all__ = ["EXERCISES"]

EXERCISES = (
    factors.EXERCISE,
    first_split.EXERCISE,
    all_reduce.EXERCISE,
    shard.EXERCISE,
    buckets.EXERCISE,
    save_whole.EXERCISE,
)
