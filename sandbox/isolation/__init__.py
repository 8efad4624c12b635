"""The layers that confine a candidate, one short file each, through plain system calls. Linux on x86_64 and aarch64.

`levels` combines layers into levels of isolation and lists what candidates may read. Whether a level holds on this machine is
tried by `sandbox.launch.detect`.
"""
