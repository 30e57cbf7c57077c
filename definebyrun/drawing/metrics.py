"""A card goes in, its size comes out: how much room texts take, counted in characters, without asking any font.

Every width and height is in points, which a page shows as CSS pixels. A monospace font has one width a character, so
the layout is the same on machines with different fonts, and no text is cut.
"""

from __future__ import annotations

from ..cards.model import Card

__all__ = [
    "CARD_PAD",
    "CHAR_WIDTH",
    "ROW_HEIGHT",
    "SMALL_PRINT_SIZE",
    "TEXT_SIZE",
    "TITLE_SIZE",
    "card_size",
    "small_print_width",
]

TITLE_SIZE, TEXT_SIZE, SMALL_PRINT_SIZE = 12.4, 12.0, 10.4
"""Points: font sizes of a card's title, of its values, and of kinds, nodes and what these keep."""
CHAR_WIDTH, ROW_HEIGHT, CARD_PAD = 7.3, 16.0, 10.0
"""Points: a character of `TEXT_SIZE` with a little room, a row of a card, the room between its border and its texts."""
TITLE, SMALL_PRINT = 1.04, 0.87
"""Characters of `TEXT_SIZE` that one of a title and one of small print take."""
MIN_CHARS = 9
"""A card is at least as wide as so many characters."""


def card_size(card: Card) -> tuple[float, float]:
    """Width and height of a card in points, wide enough for the longest text that any of its states shows."""
    corner, keeps = card.corner, 0
    head = len(card.title) * TITLE + (len(corner) + 2) * SMALL_PRINT * bool(corner)
    if card.keeps:
        keeps = 2 + max([len(state.text) for state in card.keeps])
    rows = [row for row in (card.values, card.more_values, card.grads, card.more_grads) if row]
    texts = [len(state.text) for row in rows for state in row]
    node = (len(card.function) + keeps) * SMALL_PRINT
    notes = [len(note) * SMALL_PRINT for note in (card.arguments, *card.notes)]
    longest = max(head, node, len(card.function), len(card.origin), *texts, *notes, MIN_CHARS)
    number_of_rows = (
        1
        + len(rows)
        + bool(card.function)
        + bool(card.origin)
        + len(card.notes)
        + bool(card.arguments)
    )
    return round(longest * CHAR_WIDTH + 2 * CARD_PAD, 1), number_of_rows * ROW_HEIGHT + CARD_PAD


def small_print_width(characters: int) -> int:
    """Points that small print takes, with a little room on both sides."""
    return round(characters * CHAR_WIDTH * SMALL_PRINT) + 8
