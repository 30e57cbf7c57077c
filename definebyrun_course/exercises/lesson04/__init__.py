"""Exercises of lesson 04, Your own autograd, numbers: a rule, a step that goes wrong, an order, gradients alone."""

from __future__ import annotations

from . import divide, gradients, order, sgd_step

__all__ = ["EXERCISES"]

EXERCISES = (divide.EXERCISE, sgd_step.EXERCISE, order.EXERCISE, gradients.EXERCISE)
