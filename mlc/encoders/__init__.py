"""Encoders: features x to the representation h on which a head stands."""
