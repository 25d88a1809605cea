import sys; sys.path.insert(0,'/work/wt/isa')
import setup as s, os
from setuptools import setup
orig=s.sources
s.sources=lambda: [p for p in orig() if '/core/' in str(p) or '/maps/' in str(p)]
setup(ext_modules=s.extensions(), cmdclass={"build_ext": s.ParallelBuildExt})
