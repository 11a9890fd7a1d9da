"""The parts of `benchmarks/chaos.py`.

Pure: `plan` (which faults when), `orders` (what operators do), `audit` (what may not be found afterwards), `growth`
(what programs may not have more and more of). Doing: `blows` (faults), `disasters` and `shortages` (faults with
promises of their own), `ground` (what these stand on), `operators` (orders), `stack` (what runs meanwhile, and who asks
it), `vitals` (memory, threads and descriptors of the programs), `remains` (what is found on the nodes), `run` (all of
it). Start at `benchmarks/chaos.py`.
"""
