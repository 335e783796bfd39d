// What every Node peer shares; see peer.py for the protocol.
import readline from 'node:readline';

export async function serve(runWorkflows) {
  await runWorkflows(2, 2);
  console.log('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [workflows, steps] = { dag: [20, 10], chain: [1, 40] }[line.trim()];
    const start = performance.now();
    await runWorkflows(workflows, steps);
    console.log((performance.now() - start) / 1000);
  }
  process.exit(0);
}
