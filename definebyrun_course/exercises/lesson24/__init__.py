"""Exercises of lesson 24, More than one process: all of them checked in one."""

from __future__ import annotations

from . import all_reduce, buckets, factors, save_whole, shard

__all__ = ["EXERCISES"]

EXERCISES = (
    all_reduce.EXERCISE,
    factors.EXERCISE,
    shard.EXERCISE,
    buckets.EXERCISE,
    save_whole.EXERCISE,
)
