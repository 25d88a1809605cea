"""A kernel in a guest, as an oracle: Debian's, under qemu, behind the Machine's own bpf(cmd, attr).

`Guest()` boots it and is a backend as `anybpf.linux.Linux` is. See docs/guest.md.
"""
