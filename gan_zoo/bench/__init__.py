"""The measuring instrument: how fast steps and kernels are on a device, and whether one report is slower than another.

- `clock`: samples of time, of cases that take turns;
- `record`: a report, as it is written and read;
- `rates`: what the device reaches at matrix products and copies;
- `places`, `step`: the grid of the suite of steps, and the suite;
- `busy`: how many kernels a step has on a GPU, and how busy they keep it;
- `problems`, `kernels`: the functions and shapes of the suite of kernels, and the suite;
- `cold`, `empty`: the time of a call in a CUDA graph without the cache's help, and of an empty kernel;
- `compare`: reports beside each other;
- `pages`: reports as tables, Markdown and a plot.
"""
