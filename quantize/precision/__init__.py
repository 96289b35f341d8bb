"""How a node's weights and activations are stored: int8, int4, lookup tables, 16-bit activations.

Belongs here: the forms, and the edits of a flatbuffer that bring a node into one. Does not belong
here: training for a form (`quantize/aware`), or which form a node gets (`quantize/rom`).
"""
