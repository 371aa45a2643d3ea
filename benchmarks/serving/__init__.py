"""The claims of the data plane, one file each, on one stage: a project with a promoted bundle of 300 trees.

| file           | claim                                                                                  |
|----------------|----------------------------------------------------------------------------------------|
| `one_row.py`   | one row of JSON a request: rates and latencies beside nginx's constant and five peers |
| `open_loop.py` | latency at half of the capacity, requests due at a rate of their own                  |
| `binary.py`    | binary tensors beside JSON tensors and plain rows                                      |
| `logged.py`    | what logging a prediction costs under load                                             |
| `ready.py`     | CPU and memory until it is ready, CPU at rest                                          |
"""
