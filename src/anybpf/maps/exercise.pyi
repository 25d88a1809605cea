from anybpf.maps.bpf_map import Map

OPERATIONS: tuple[str, ...]

def exercise(map: Map, operation: str, keys: bytes, rounds: int, cpu: int = 0,
             value: bytes | None = None, flags: int = 0) -> tuple[float, int]: ...
def elements(map: Map, cpu: int = 0, limit: int = 0) -> list[tuple[bytes, bytes]]: ...
