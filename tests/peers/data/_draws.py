"""VL Hub's random numbers, and how its augmentations draw: the same numbers as `vlhub plugins try --seed` gives them."""

import math

MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1


def philox4x32(counter, key):
    """Ten rounds of Philox4x32 (Salmon et al. 2011)."""
    for number in range(10):
        if number:
            key = ((key[0] + 0x9E3779B9) & MASK32, (key[1] + 0xBB67AE85) & MASK32)
        first, second = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = ((second >> 32) ^ counter[1] ^ key[0], second & MASK32, (first >> 32) ^ counter[3] ^ key[1], first & MASK32)
    return counter


class Draws:
    def __init__(self, seed):
        key, salt = (4, 0x564C4842), (0, 0)
        for first, second in ((seed, 0), (0, 0)):
            counter = ((first & MASK32) ^ salt[0], (first >> 32) ^ salt[1], second & MASK32, second >> 32)
            mixed = philox4x32(counter, key)
            key, salt = mixed[:2], mixed[2:]
        self.key, self.salt, self.block, self.words = key, salt, 0, []

    def u32(self):
        if not self.words:
            self.words = list(philox4x32((self.block & MASK32, self.block >> 32, *self.salt), self.key))
            self.block += 1
        return self.words.pop(0)

    def u64(self):
        low = self.u32()
        return low | self.u32() << 32

    def uniform(self):
        return (self.u64() >> 11) / (1 << 53)

    def between(self, low, high):
        return low + (high - low) * self.uniform()

    def chance(self, p):
        return self.uniform() < p

    def below(self, bound):
        least = ((1 << 64) - bound) % bound
        while True:
            product = self.u64() * bound
            if product & MASK64 >= least:
                return product >> 64

    def normal(self):
        radius = math.sqrt(-2 * math.log(1 - self.uniform()))
        return radius * math.cos(2 * math.pi * self.uniform())

    def shuffled(self, items):
        items = list(items)
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]
        return items
