"""Damage to files: what happens on disks and networks, and what someone may write into a header."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

__all__ = ["mutated"]

NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
NUMBERS = [b"0", b"-1", b"1e30", b"1e300", b"nan", b"inf", b"99999999999999999999", b"2147483648", b"1.5", b"", b"x"]
WORDS = [b"\0" * 4, b"\xff" * 4, b"\x80\0\0\0", b"\0\0\x80\x7f", b"\0\0\xc0\x7f", b"\x01\0", b"\xff\x7f"]  # infinity, NaN, …


def flip_bit(content: bytearray, place: int, random: np.random.Generator) -> None:
    content[place] ^= 1 << int(random.integers(8))


def set_byte(content: bytearray, place: int, random: np.random.Generator) -> None:
    content[place] = int(random.integers(256))


def set_word(content: bytearray, place: int, random: np.random.Generator) -> None:
    word = WORDS[random.integers(len(WORDS))]
    content[place : place + len(word)] = word


def cut(content: bytearray, place: int, random: np.random.Generator) -> None:
    del content[place:]


def remove(content: bytearray, place: int, random: np.random.Generator) -> None:
    del content[place : place + int(random.integers(1, 64))]


def insert(content: bytearray, place: int, random: np.random.Generator) -> None:
    content[place:place] = random.bytes(int(random.integers(1, 16)))


def repeat(content: bytearray, place: int, random: np.random.Generator) -> None:
    content[place:place] = content[place : place + int(random.integers(1, 64))]


def empty(content: bytearray, place: int, random: np.random.Generator) -> None:
    end = min(len(content), place + int(random.integers(1, 512)))
    content[place:end] = bytes(end - place)


def change_number(content: bytearray, place: int, random: np.random.Generator) -> None:
    """Of text; other files have few."""
    found = list(NUMBER.finditer(bytes(content[:2048])))
    if found:
        chosen = found[random.integers(len(found))]
        content[chosen.start() : chosen.end()] = NUMBERS[random.integers(len(NUMBERS))]


KINDS: list[Callable[[bytearray, int, np.random.Generator], None]] = [
    *(flip_bit, set_byte, set_word, cut, remove, insert, repeat, empty, change_number),
]


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """The content of a file, damaged once or a few times, half of the time in its first bytes."""
    damaged = bytearray(content)
    for _ in range(1 if random.random() < 0.7 else int(random.integers(2, 5))):
        if not damaged:
            break
        end = min(len(damaged), 512) if random.random() < 0.5 else len(damaged)
        KINDS[random.integers(len(KINDS))](damaged, int(random.integers(end)), random)
    return bytes(damaged)
