# The C side of scan.py: typed words and positions.
cimport cython

@cython.locals(
    fixed=tuple, per_element=tuple, pos=cython.Py_ssize_t, last=cython.Py_ssize_t,
    info=cython.uint, kind=cython.uint, width=cython.Py_ssize_t, size=cython.Py_ssize_t,
)
cpdef tuple starts(const unsigned int[::1] words)

@cython.locals(
    index=dict, i=cython.Py_ssize_t, offset=cython.uint, known=list,
)
cpdef dict names(const unsigned int[::1] words, const unsigned int[::1] begins, Py_ssize_t first_id)
