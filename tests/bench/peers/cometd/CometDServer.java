// SPDX-License-Identifier: Apache-2.0
// CometD in an embedded Jetty, set up as CometD's own benchmark server is:  CometDServer PORT

import java.util.Map;
import org.cometd.bayeux.server.BayeuxServer;
import org.cometd.server.BayeuxServerImpl;
import org.cometd.server.JacksonJSONContextServer;
import org.cometd.server.http.JSONHttpTransport;
import org.cometd.server.http.jakarta.CometDServlet;
import org.cometd.server.websocket.jetty.JettyWebSocketTransport;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Context;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.util.thread.QueuedThreadPool;
import org.eclipse.jetty.websocket.server.WebSocketUpgradeHandler;

public class CometDServer {
    // maxThreads 256, a queue of 2,048 for accept, Jackson ("the faster JSON parser/generator"): CometD's benchmark server.
    // ws.messagesPerFrame: 1 is the default; with 10 CometD too may put what waits into one frame.
    // trustClientSession: the load generator keeps no cookies. permessage-deflate: no peer compresses.
    // maxInterval: a client that a busy core keeps waiting is not a lost one.
    private static final Map<String, Object> OPTIONS = Map.of(
        "ws.cometdURLMapping", "/cometd/*",
        "ws.messagesPerFrame", "10",
        "ws.enableExtension.permessage-deflate", "false",
        "long-polling.trustClientSession", "true",
        "timeout", "30000",
        "maxInterval", "60000",
        "jsonContext", JacksonJSONContextServer.class.getName());

    public static void main(String[] args) throws Exception {
        Server server = new Server(new QueuedThreadPool(256));
        ServerConnector connector = new ServerConnector(server, 1, 1, new HttpConnectionFactory(new HttpConfiguration()));
        connector.setHost("127.0.0.1");
        connector.setPort(Integer.parseInt(args[0]));
        connector.setAcceptQueueSize(2048);
        connector.setIdleTimeout(300000);
        server.addConnector(connector);

        ServletContextHandler context = new ServletContextHandler("/", false, false);
        server.setHandler(context);
        context.insertHandler(WebSocketUpgradeHandler.from(server, context));

        BayeuxServerImpl bayeux = new BayeuxServerImpl();
        OPTIONS.forEach(bayeux::setOption);
        bayeux.setOption(Context.class.getName(), context.getContext());
        bayeux.addTransport(new JettyWebSocketTransport(bayeux));
        bayeux.addTransport(new JSONHttpTransport(bayeux));
        context.setAttribute(BayeuxServer.ATTRIBUTE, bayeux);
        server.addBean(bayeux);

        ServletHolder holder = new ServletHolder(CometDServlet.class);
        holder.setInitOrder(1);
        holder.setAsyncSupported(true);
        context.addServlet(holder, "/cometd/*");
        server.start();
    }
}
