"""What a firmware folder holds, and how it is written; `deploy/firmware.py` is the door."""
