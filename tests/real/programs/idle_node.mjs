// node, which closes a connection that was idle for as many seconds as the argument says.
//
// Answers a POST with a chat completion, and anything else with the number of requests of each call and of connections.
// Prints its address and ends with standard input.
import http from "node:http";

const calls = {};
const peers = new Set();
const delta = { choices: [{ index: 0, delta: { content: "answered" }, finish_reason: "stop" }] };

const server = http.createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    if (request.method !== "POST") {
      response.end(JSON.stringify({ calls, connections: peers.size }));
      return;
    }
    const call = request.headers["x-call"];
    calls[call] = (calls[call] ?? 0) + 1;
    peers.add(request.socket.remotePort);
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(`data: ${JSON.stringify(delta)}\n\n`);
    response.end("data: [DONE]\n\n");
  });
});
server.keepAliveTimeout = 1000 * Number(process.argv[2]);
// Node adds this to the time, which would hide the race that is looked for.
server.keepAliveTimeoutBuffer = 0;
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
process.stdin.on("end", () => process.exit(0)).resume();
