// SPDX-License-Identifier: Apache-2.0
// A client that nobody here wrote (npm's tedious) against sqlsim. tedious.js PORT LOGIN CA-FILE
// SERVER-NAME; the password is in $WITNESS_PASSWORD. Lines of JSON come on standard input:
// {"text"} goes as a batch, {"text", "parameters": {NAME: VALUE}} as an RPC; "timeout": MS ends a
// request by an attention. Of each, one line goes out: {"columns": [[NAME, TYPE]...],
// "rows": [[...]...], "errors": [[NUMBER, STATE, CLASS, TEXT]...], "infos": [[NUMBER, TEXT]...]}.
'use strict';

const readline = require('readline');
const fs = require('fs');
const { Connection, Request, TYPES } = require('tedious');

const [port, login, ca, name] = process.argv.slice(2);
const connection = new Connection({
  server: 'localhost',
  authentication: {
    type: 'default', options: { userName: login, password: process.env.WITNESS_PASSWORD },
  },
  options: {
    port: Number(port),
    encrypt: true,
    serverName: name,
    cryptoCredentialsDetails: { ca: fs.readFileSync(ca), maxVersion: 'TLSv1.2' },
    readOnlyIntent: process.env.WITNESS_READ_ONLY === '1',
    packetSize: Number(process.env.WITNESS_PACKET_SIZE || 4096),
    connectTimeout: 10000,
    requestTimeout: 10000,
  },
});
const seen = { errors: [], infos: [] };

function say(object) {
  console.log(JSON.stringify(object));
}

connection.on('errorMessage', (error) => {
  seen.errors.push([error.number, error.state, error.class, error.message]);
});
connection.on('infoMessage', (info) => seen.infos.push([info.number, info.message]));

function ask({ text, parameters, timeout }) {
  return new Promise((resolve) => {
    const columns = [];
    const rows = [];
    const request = new Request(text, (error) => resolve({
      columns, rows, errors: seen.errors.splice(0), infos: seen.infos.splice(0), end: error?.code,
    }));
    request.on('columnMetadata', (list) => list.forEach((column) => columns.push([column.colName, column.type.name])));
    request.on('row', (row) => rows.push(row.map((column) => column.value)));
    Object.entries(parameters ?? {}).forEach(([key, value]) => {
      request.addParameter(key, typeof value === 'number' ? TYPES.Int : TYPES.NVarChar, value);
    });
    if (timeout) {
      request.setTimeout(timeout);
    }
    if (parameters) {
      connection.execSql(request);
    } else {
      connection.execSqlBatch(request);
    }
  });
}

connection.on('connect', async (error) => {
  say({ connected: !error, end: error?.code, errors: seen.errors.splice(0), infos: seen.infos.splice(0) });
  if (!error) {
    for await (const line of readline.createInterface({ input: process.stdin })) {
      say(await ask(JSON.parse(line)));
    }
  }
  connection.close();
});
connection.connect();
