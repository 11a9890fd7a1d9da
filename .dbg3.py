import sys, asyncio
from tests.sim import chaos, world as W
seed=int(sys.argv[1]); T=float(sys.argv[2])
osay=W.World.say
worlds=[]
def say(self, what):
    if self not in worlds:
        worlds.append(self)
        async def watch():
            while True:
                await asyncio.sleep(10)
                if self.now>T:
                    for n,c in self.controllers.items():
                        s=c.hearing.suspicion; m=c.mirror
                        print(round(self.now,1), n, "leads" if c.leads else "", "frozen", c.leader.frozen[:60], "el", c.elector.trouble[:60], "doubt",s.doubtful_since,"unsure",getattr(s,"unsure_since",None),"beh",m.state.whole.behind_since,m.observed.whole.behind_since, vars(m.state.extent), m.sequence)
        self._w=asyncio.get_running_loop().create_task(watch())
    return osay(self, what)
W.World.say=say
r=chaos.run_seed(seed)
