# SPDX-License-Identifier: MIT
"""What the server computes, computed again: the pattern of /data/SIZE, and CRC-32C. Used on both sides of the root."""

import re

BLOCK = 65521


def parse_size(text):
    match = re.fullmatch(r"(\d+)([KMG]?)", text)
    if not match:
        raise ValueError(f"not a size: {text}")
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]]


PATTERN = bytes((i * 2654435761 >> 24) & 255 for i in range(BLOCK))  # the body of /data/SIZE repeats this block


def pattern_bytes(size):
    return (PATTERN * (size // BLOCK + 1))[:size]


class PatternChecker:
    """Compares a body of /data/SIZE as it comes in pieces, from `offset` on."""

    window = PATTERN * 18  # more than a piece of 1 MiB from any offset within the block

    def __init__(self, offset=0):
        self.offset = offset

    def feed(self, piece):
        start = self.offset % BLOCK
        self.offset += len(piece)
        return self.window[start:start + len(piece)] == piece


def crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


def crc32c(data):
    table, crc = crc32c_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


# --- the server -----------------------------------------------------------------------------------------------------
