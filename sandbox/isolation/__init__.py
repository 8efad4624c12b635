"""The layers that confine a candidate, one short file each, through plain system calls. Linux on x86_64 and aarch64.

`levels` combines layers into levels of isolation and lists what candidates may read. `sandbox.launch.detect` tries whether a
level holds on this machine.
"""
