"""Layers between a candidate and the machine, one short file each, by plain system calls. Linux on x86_64 and aarch64."""
