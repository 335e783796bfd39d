// Restate: its own server with its own replicated log and RocksDB under PEER_DIR; each ctx.run is journalled durably there.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import * as restate from '@restatedev/restate-sdk';
import { serve } from './peer.mjs';

const port = Number(process.env.PEER_PORT);
const [ingress, admin, node, service] = [port, port + 1, port + 2, port + 3];
const require = createRequire(import.meta.url);
const folder = path.dirname(require.resolve(`@restatedev/restate-server-${process.platform}-${process.arch}/package.json`));
const server = spawn(path.join(folder, 'bin', 'restate-server'), ['--base-dir', process.env.PEER_DIR], {
  stdio: ['ignore', 2, 2],
  env: {
    ...process.env,
    RESTATE_LOG_FILTER: 'error',
    RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${ingress}`,
    RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${admin}`,
    RESTATE_BIND_ADDRESS: `127.0.0.1:${node}`,
    RESTATE_ADVERTISED_ADDRESS: `http://127.0.0.1:${node}`,
  },
});
process.on('exit', () => server.kill('SIGKILL'));

const chain = restate.service({
  name: 'chain',
  handlers: {
    run: async (ctx, steps) => {
      for (let i = 0; i < steps; i++) await ctx.run(`noop${i}`, () => i);
      return steps;
    },
  },
});
await restate.serve({ services: [chain], port: service });

async function until(attempt) {
  for (let i = 0; ; i++) {
    try {
      const answer = await attempt();
      if (answer.ok) return;
      if (i > 100) throw new Error(await answer.text());
    } catch (error) {
      if (i > 100) throw error;
    }
    await new Promise((done) => setTimeout(done, 200));
  }
}
const post = (url, body) =>
  fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
await until(() => post(`http://127.0.0.1:${admin}/deployments`, { uri: `http://127.0.0.1:${service}` }));

await serve((workflows, steps) =>
  Promise.all(Array.from({ length: workflows }, async () => {
    const answer = await post(`http://127.0.0.1:${ingress}/chain/run`, steps);
    if (!answer.ok) throw new Error(await answer.text());
  })));
