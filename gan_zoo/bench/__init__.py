"""The measuring instrument: how fast steps and kernels are on a device, and whether one report is slower than another.

- `clock`: samples of time, of cases that take turns;
- `record`: a report, as it is written and read;
- `rates`: what the device reaches at matrix products and copies;
- `step`, `kernels`: the two suites;
- `compare`: reports beside each other;
- `pages`: reports as tables, Markdown and a plot.
"""
