/** A process that does what the rules of its argument say, until it is killed. Tells each state on a line. */
import { EngineHost } from '../../engine/engine-host.ts';
import type { RetentionSpec } from '../../engine/retention/types.ts';
import type { EngineConfig } from '../../engine/types.ts';

const { config, spec } = JSON.parse(process.argv[2]!) as { config: EngineConfig; spec: RetentionSpec };
const host = new EngineHost(config);
host.on('retention', (message) => {
  if (message.type === 'storage') console.log(JSON.stringify(message.tiers));
});
await host.setRetention(spec);
for (;;) {
  await host.runRetention();
  await new Promise((resolve) => setTimeout(resolve, 20));
}
