"""From a float node to an int8 one: freezing, refusal, pinned ranges, the converter process."""
