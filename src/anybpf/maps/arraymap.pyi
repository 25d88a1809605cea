from anybpf.maps.attr import MapAttr
from anybpf.maps.bpf_map import Map

class ArrayMap(Map):
    def __init__(self, attr: MapAttr, ncpus: int, seed: int = 0) -> None: ...

class FdArray(Map):
    def __init__(self, attr: MapAttr, ncpus: int, seed: int = 0) -> None: ...

class ProgArray(FdArray):
    owner_type: object
<<<<<<< HEAD
    def claim(self, owner: object) -> None: ...
=======
>>>>>>> maps

class PerfEventArray(FdArray): ...
class CgroupArray(FdArray): ...
