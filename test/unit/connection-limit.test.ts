import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, get } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { connectionsFor, filesIn, limitConnections } from '../../nodes/nvr-config/connection-limit.ts';

describe('connections to Node-RED', () => {
  it('may take half of the files that it may open', () => {
    assert.equal(
      filesIn('Limit   Soft  Hard  Units\nMax open files            1024                 524288               files\n'),
      1024,
    );
    assert.equal(filesIn('Max open files            unlimited            unlimited            files\n'), null);
    assert.deepEqual([10, 1024, 1_048_576].map(connectionsFor), [64, 512, 4096]);
  });

  it('are closed beyond that, and come in again when others have left', async () => {
    const server = createServer((_request, response) => response.end());
    limitConnections(server);
    assert.ok(server.maxConnections >= 64);
    server.maxConnections = 3; // of a settings.js
    limitConnections(server);
    assert.equal(server.maxConnections, 3);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const idle: Socket[] = [];
    for (let i = 0; i < 3; i++) {
      idle.push(connect(port, '127.0.0.1'));
      await once(server, 'connection');
    }
    const refused = connect(port, '127.0.0.1').on('error', () => undefined);
    await once(refused, 'close');
    const [first] = idle;
    first!.destroy();
    await once(first!, 'close');
    const status = async (): Promise<number | undefined> =>
      new Promise((resolve) => {
        get({ port, host: '127.0.0.1', agent: false }, (answer) => resolve(answer.resume().statusCode)).on(
          'error',
          () => resolve(undefined),
        );
      });
    while ((await status()) !== 200); // the server hears of the end a moment later
    for (const socket of idle) socket.destroy();
    server.close();
  });
});
