"""Benchmarks: the speed of steps and kernels on a device, and whether one report is slower than another.

- `clock`: interleaved timings of several cases;
- `record`: the report and its JSON format;
- `rates`: the device's speed at matrix products and copies;
- `workloads`, `step`: the suite of steps and its grid;
- `busy`: the number of kernels in a step, and the share of time in which they keep a GPU busy;
- `problems`, `kernels`: the suite of kernels, its functions and shapes;
- `cold`, `empty`: the time of a call in a CUDA graph with a cold cache, and of an empty kernel;
- `compare`: comparison of reports;
- `pages`: reports as tables, Markdown and a plot.
"""
