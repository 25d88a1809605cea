# The C side of numbers.py.
cdef extern from *:
    """
    #define ANYBPF_S32_MIN (-2147483647LL - 1)
    #define ANYBPF_S32_MAX 2147483647LL
    #define ANYBPF_S64_MIN (-9223372036854775807LL - 1)
    #define ANYBPF_S64_MAX 9223372036854775807LL
    """
    const long long S32_MIN "ANYBPF_S32_MIN"
    const long long S32_MAX "ANYBPF_S32_MAX"
    const long long S64_MIN "ANYBPF_S64_MIN"
    const long long S64_MAX "ANYBPF_S64_MAX"
