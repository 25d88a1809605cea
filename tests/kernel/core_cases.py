"""CO-RE cases: what a program knows, what the kernel has, and what the program asks.

Each is compiled twice by clang: `local` and the body with `core.h` into an object, `kernel` into
the BTF that it is relocated against.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Case(NamedTuple):
    name: str
    local: str
    kernel: str
    body: str
    section: str = "raw_tp/x"

    def program(self) -> str:
        return (f'#include "core.h"\n{self.local}\n'
                f'SEC("{self.section}") int prog(u64 *ctx)\n{{\n{self.body}\nreturn 0;\n}}\n'
                'char _license[] SEC("license") = "GPL";\n')

    def types(self) -> str:
        """The kernel's types, each used once so that the compiler describes it."""
        names = re.findall(r"^((?:struct|union|enum) \w+)(?= \{)", self.kernel, re.M)
        names += re.findall(r"^typedef .*?(\w+);$", self.kernel, re.M)
        names += re.findall(r"^typedef .*\(\*(\w+)\)\(.*\);$", self.kernel, re.M)
        uses = "".join(f"{n} use_{i};\n" for i, n in enumerate(names))
        return f"typedef unsigned char u8; typedef unsigned int u32;\n{self.kernel}\n{uses}"


S = "struct s *p = (void *)ctx[0];"

CASES = (
    Case("moved", "struct s { int a; long b; } CORE;",
         "struct s { char pad[40]; long b; int a; };", S + "ALL(p->a); ALL(p->b);"),
    Case("anonymous", "struct s { int a, b; } CORE;",
         "struct s { int x; union { int y; struct { int z; int b; }; }; struct { int a; }; };",
         S + "ALL(p->a); ALL(p->b);"),
    Case("anonymous here", "struct s { struct { union { int a; int b; }; int c; }; } CORE;",
         "struct s { int x, c, b; };", S + "ALL(p->a); ALL(p->b); ALL(p->c);"),
    Case("through typedefs", "typedef const struct s t; struct s { int a; } CORE;",
         "struct inner { int x; };\ntypedef struct s_t { int q; int a; } s;\n"
         "struct s { int pad; int a; };",
         "const volatile t *p = (void *)ctx[0]; ALL(p->a);"),
    Case("flavour here", "struct s___old { int a; } CORE; struct s___v___2 { int b; } CORE;",
         "struct s { int b; };\nstruct s___v { int z, b; };",
         "ALL(((struct s___old *)ctx)->a); ALL(((struct s___v___2 *)ctx)->b);"),
    Case("flavour there", "struct s { int a; } CORE;",
         "struct s___one { int x; int a; };\nstruct s___two { int y; };", S + "ALL(p->a);"),
    Case("underscores", "struct a____b { int x; } CORE; struct ___c { int x; } CORE;",
         "struct a____b { int y, x; };\nstruct ___c { int y, x; };\nstruct a { int x; };",
         "ALL(((struct a____b *)ctx)->x); ALL(((struct ___c *)ctx)->x);"),
    Case("candidates agree", "struct s { int a, b; } CORE;",
         "struct s { int a; };\nstruct s___2 { int a; long c; };", S + "ALL(p->a); ALL(p->b);"),
    Case("offsets disagree", "struct s { int a; } CORE;",
         "struct s { int a; };\nstruct s___2 { int pad; int a; };",
         S + "put(field_info(p->a, EXISTS));"),
    Case("sizes disagree", "struct s { int x, a; } CORE;",
         "struct s { int x; int a; };\nstruct s___2 { int x; short a; };",
         S + "put(field_info(p->a, SIZE));"),
    Case("a candidate drops out", "struct s { int a, b; } CORE;",
         "struct s { int a; int x; };\nstruct s___2 { int a; int b; };",
         S + "put(field_info(p->b, OFFSET)); put(field_info(p->a, OFFSET));"
         "put(field_info(p->b, EXISTS));"),
    Case("type ids disagree", "struct s { int a; };",
         "struct s { int a; };\nstruct s___2 { int a; };", "put(type_id_kernel(struct s));"),
    Case("kind of field", "struct s { int a; struct { int x; } b; int *c; char d[4]; float e; "
         "enum { Q } f; } CORE;",
         "struct s { int *a; int b; struct { int y; } c; int d; int e; int f; };",
         S + "PLACE(p->a); PLACE(p->b.x); PLACE(p->c); PLACE(p->d); PLACE(p->e); PLACE(p->f);"),
    Case("struct for union", "struct s { struct { int x; } a; } CORE;",
         "struct s { int q; union { int x; } a; };", S + "PLACE(p->a); ALL(p->a.x);"),
    Case("enum fields", "enum e { A }; enum f___x { B }; struct s { enum e a; enum f___x b; "
         "enum e c; enum { C } d; } CORE;",
         "enum e { A };\nenum f { B };\nenum g { D };\n"
         "struct s { int q; enum e a; enum f b; enum g c; enum g d; };",
         S + "ALL(p->a); ALL(p->b); ALL(p->c); ALL(p->d);"),
    Case("arrays", "struct in { int x, y; }; struct s { int a[4]; struct in b[3]; char c[2][3]; "
         "int d[8]; } CORE;",
         "struct in { int z[3]; int y; };\n"
         "struct s { int q; long a[8]; struct in b[2]; char c[4][5]; int d[2]; };",
         S + "PLACE(p->a[2]); ALL(p->b[1].y); PLACE(p->c[1][2]); PLACE(p->d[1]); PLACE(p->d[5]);"
         "PLACE(p->b[2].y); PLACE(p->a); PLACE(p->c);"),
    Case("index of the root", "struct s { int a; } CORE;", "struct s { int q[5]; int a; };",
         S + "PLACE(p[3].a); PLACE(p[0]); PLACE(p[2]);"),
    Case("open arrays", "struct s { int n; int a[]; } CORE; struct t { int n; int a[0]; } CORE;",
         "struct s { long n; long a[]; };\nstruct t { int n; int a[0]; int more; };",
         S + "PLACE(p->a[5]); PLACE(((struct t *)p)->a[2]);"),
    Case("open array is filled", "struct s { int n; int a[]; } CORE;",
         "struct s { int n; int a[3]; };", S + "PLACE(p->a[2]); PLACE(p->a[3]);"),
    Case("bitfields", "struct s { unsigned a : 3, b : 7; int c : 5; unsigned long long d : 40; "
         "u8 e : 1; } CORE;",
         "struct s { int x; unsigned q : 2, a : 9, b : 20; int c; "
         "unsigned long long w : 10, d : 50; _Bool e : 1; };",
         S + "ALL(p->a); ALL(p->b); ALL(p->c); ALL(p->d); ALL(p->e);"),
    Case("bitfield across", "struct s { u32 a; } CORE;",
         "struct s { u32 x : 30; u32 y; } __attribute__((packed));\n"
         "struct s___p { unsigned char z[3]; unsigned short pad : 12; u32 a : 23; } "
         "__attribute__((packed));", S + "ALL(p->a);"),
    Case("bitfield over 64 bits", "struct s { u32 a; } CORE;",
         "struct s { unsigned char z[7]; unsigned char pad : 7; unsigned long long a : 60; } "
         "__attribute__((packed));", S + "put(field_info(p->a, OFFSET));"),
    Case("bitfield becomes plain", "struct s { unsigned a : 3; signed b : 3; } CORE;",
         "struct s { long x; unsigned short a; signed char b; };", S + "ALL(p->a); ALL(p->b);"),
    Case("enumerators", "enum e { A, B = 7, C = -2, D___x = 3, G = 9 }; "
         "enum big { H = 0x1122334455667788ULL, I = 1 };",
         "enum e { B = -9, D = 8, C = 5 };\nenum big { H = 2, I = 0x1FFFFFFFFULL };",
         "VALUE(enum e, A); VALUE(enum e, B); VALUE(enum e, C); VALUE(enum e, D___x);"
         "VALUE(enum e, G); VALUE(enum big, H); VALUE(enum big, I);"),
    Case("unsigned enumerators", "enum e { A = 0x80000000U, B = 5 };",
         "enum e { A = 0xFFFFFFFFU, B = 0x80000001U };", "VALUE(enum e, A); VALUE(enum e, B);"),
    Case("enumerators of a typedef", "typedef enum { A, B = 7 } e;",
         "typedef enum { B = 5 } e;", "VALUE(e, A); VALUE(e, B);"),
    Case("types", "struct s { int a; }; union u { int a; }; typedef int t; enum e { A }; "
         "struct gone { int a; }; typedef struct { int x; } d; union w { int a; };",
         "struct s { int b; long c; };\nunion u { int a[9]; };\ntypedef long t;\n"
         "enum e { B };\ntypedef struct { int y; } d;\nstruct w { int a; };",
         "TYPE(struct s); TYPE(union u); TYPE(t); TYPE(enum e); TYPE(struct gone); TYPE(d);"
         "TYPE(union w);"),
    Case("function types", "typedef int (*f)(int, struct s *); typedef int (*g)(int); "
         "typedef void (*h)(void); typedef int (*k)(int a, ...);",
         "struct s { int a; };\ntypedef long (*f)(unsigned, struct s *);\n"
         "typedef int (*g)(int, int);\ntypedef void (*h)(int *);\n"
         "typedef int (*k)(int a, ...);",
         "TYPE(f); TYPE(g); TYPE(k); put(type_exists(h));"),
    Case("matches", """
struct in { int x; };
struct in___z { int x; };
struct in___9 { int x; int nope; };
struct s { int a; struct in b; struct in *c; unsigned d; char e[3]; int (*f)(long); };
struct s___2 { long a; };
struct s___3 { unsigned a; };
struct s___4 { struct other *c; };
struct s___5 { struct in___z *c; struct in___z b; };
struct s___6 { char e[4]; };
struct s___7 { struct { int a; } b; };
struct s___8 { int (*f)(int); };
struct s___9 { struct in___9 b; };
struct s___10 { struct in___9 *c; };
struct s___11 { int a, a2, a3, a4, a5, a6, a7, a8; };
""", "struct in { int w; int x; };\nstruct s { int z; char e[3]; unsigned d; struct in *c; "
         "struct in b; int a; int (*f)(long); };",
         "".join(f"put(type_matches(struct s{x}));" for x in
                 ("", *(f"___{i}" for i in range(2, 12))))),
    Case("matching enums", "enum e { A, B }; enum f { A___1 = 7 }; enum g { C }; enum h { D };",
         "enum e { Z, B = 9, A };\nenum f { A___2 = 1 };\nenum g { E };\n"
         "enum h { D = 0x100000000ULL };",
         "".join(f"put(type_matches(enum {x}));" for x in "efgh")),
    Case("matching declarations", """
struct only;
union only___u;
struct s { struct only *a; };
struct s___2 { union only___u *a; };
struct full___x { int q; };
union full___u { int q; };
struct s___3 { struct full___x *b; };
struct s___4 { union full___u *b; };
struct full___f;
struct s___5 { struct full___f *b; };
""", "struct only { int x; };\nstruct full;\nstruct s { struct only *a; struct full *b; };",
         "".join(f"put(type_matches(struct s{x}));" for x in
                 ("", *(f"___{i}" for i in range(2, 6))))),
    Case("loads change width", "struct s { unsigned long a; u8 b; void *c; unsigned short d; } "
         "CORE;",
         "struct s { u8 b0; u8 pad[11]; unsigned short a; unsigned long b; void *c; u32 d; };",
         S + "put(p->a); put(p->b); put((long)p->c); put(p->d);", "tp_btf/x"),
    Case("stores change width", "struct s { unsigned long a; u8 b; } CORE;",
         "struct s { long pad; u32 a; unsigned short b; };",
         S + "p->a = ctx[1]; p->b = ctx[2];", "tp_btf/x"),
    Case("signed loads", "struct s { int a; long b; unsigned c; _Bool d; char e; enum { Q } f; } "
         "CORE;",
         "struct s { long a; int b; int c; u32 d; unsigned char e; int f; };",
         S + "put(p->a); put(p->b); put(p->c); put(p->d); put(p->e); put(p->f);", "tp_btf/x"),
    Case("offset too far", "struct s { u32 a; } CORE;", "struct s { char pad[40000]; u32 a; };",
         S + "put(p->a);", "tp_btf/x"),
    Case("width is no load", "struct s { unsigned a; } CORE;",
         "struct s { unsigned __int128 a; };", S + "put(p->a);", "tp_btf/x"),
    Case("array for a load", "struct s { u8 a[4]; } CORE;", "struct s { u8 x; u8 a[16]; };",
         S + "put(p->a[1]);", "tp_btf/x"),
)
