"""Exercises of lesson 04, Build your own autograd: a rule, an order, gradients that leave no trace, a rule checker."""

from __future__ import annotations

from . import gradients, logsumexp, order, worst_error

__all__ = ["EXERCISES"]

EXERCISES = (logsumexp.EXERCISE, order.EXERCISE, gradients.EXERCISE, worst_error.EXERCISE)
