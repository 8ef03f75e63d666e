"""Evidence packs: what an outsider needs to check one, with nothing but the pack and a key.

These modules import the standard library, `cryptography` and the record's primitives, and read
nothing but the pack: no database, no settings, no data of the platform.
"""
