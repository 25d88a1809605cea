from anybpf.maps.attr import MapAttr
from anybpf.maps.bpf_map import Map

class LpmTrie(Map):
    def __init__(self, attr: MapAttr, ncpus: int, seed: int = 0) -> None: ...
    @property
    def count(self) -> int: ...

