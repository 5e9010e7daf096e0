"""What is said on the bus, typed: one record, one parser and one builder for each topic; pure.

A record is what a payload means; the envelope (id, time, topic) is the bus's. Producers build payloads from
records, consumers parse payloads into them, the shipped JSON Schemas are generated from them.
"""
