# The C side of consts.py: the same numbers (a test compares them).
cdef extern from *:
    """
    #define ANYBPF_REGS 11
    #define ANYBPF_FP 10
    #define ANYBPF_SLOT_BYTES 8
    #define ANYBPF_MAX_STACK 512
    #define ANYBPF_MAX_FRAMES 8
    #define ANYBPF_AT_END (-1)
    #define ANYBPF_BEYOND_END (-2)
    #define ANYBPF_ADD_CONST64 2147483648LL
    #define ANYBPF_ADD_CONST32 1073741824
    #define ANYBPF_ADD_CONST 3221225472LL
    #define ANYBPF_INVALID 0
    #define ANYBPF_SPILL 1
    #define ANYBPF_MISC 2
    #define ANYBPF_ZERO 3
    #define ANYBPF_DYNPTR 4
    #define ANYBPF_ITER 5
    #define ANYBPF_IRQ_FLAG 6
    #define ANYBPF_MAX_OFFSET 536870912
    #define ANYBPF_MAX_LINKED 6
    #define ANYBPF_MAX_SLOTS 64
    #define ANYBPF_ARGUMENTS 62
    #define ANYBPF_MAX_HISTORY 40
    #define ANYBPF_MAX_PACKET_OFFSET 65535
    #define ANYBPF_EACH_BYTE 72340172838076673ULL
    #define ANYBPF_NOT_EXACT 0
    #define ANYBPF_EXACT 1
    #define ANYBPF_RANGE_WITHIN 2
    #define ANYBPF_NEXT 0
    #define ANYBPF_JUMPED 1
    #define ANYBPF_DONE 2
    """
    const int REGS "ANYBPF_REGS"
    const int FP "ANYBPF_FP"
    const int SLOT_BYTES "ANYBPF_SLOT_BYTES"
    const int MAX_STACK "ANYBPF_MAX_STACK"
    const int MAX_FRAMES "ANYBPF_MAX_FRAMES"
    const int AT_END "ANYBPF_AT_END"
    const int BEYOND_END "ANYBPF_BEYOND_END"
    const long long ADD_CONST64 "ANYBPF_ADD_CONST64"
    const int ADD_CONST32 "ANYBPF_ADD_CONST32"
    const long long ADD_CONST "ANYBPF_ADD_CONST"
    const int INVALID "ANYBPF_INVALID"
    const int SPILL "ANYBPF_SPILL"
    const int MISC "ANYBPF_MISC"
    const int ZERO "ANYBPF_ZERO"
    const int DYNPTR "ANYBPF_DYNPTR"
    const int ITER "ANYBPF_ITER"
    const int IRQ_FLAG "ANYBPF_IRQ_FLAG"
    const int MAX_OFFSET "ANYBPF_MAX_OFFSET"
    const int MAX_LINKED "ANYBPF_MAX_LINKED"
    const int MAX_SLOTS "ANYBPF_MAX_SLOTS"
    const int ARGUMENTS "ANYBPF_ARGUMENTS"
    const int MAX_HISTORY "ANYBPF_MAX_HISTORY"
    const int MAX_PACKET_OFFSET "ANYBPF_MAX_PACKET_OFFSET"
    const unsigned long long EACH_BYTE "ANYBPF_EACH_BYTE"
    const int NOT_EXACT "ANYBPF_NOT_EXACT"
    const int EXACT "ANYBPF_EXACT"
    const int RANGE_WITHIN "ANYBPF_RANGE_WITHIN"
    const int NEXT "ANYBPF_NEXT"
    const int JUMPED "ANYBPF_JUMPED"
    const int DONE "ANYBPF_DONE"
