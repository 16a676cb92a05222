package probe;

import jakarta.websocket.CloseReason;
import jakarta.websocket.HandshakeResponse;
import jakarta.websocket.OnClose;
import jakarta.websocket.OnError;
import jakarta.websocket.OnMessage;
import jakarta.websocket.OnOpen;
import jakarta.websocket.Session;
import jakarta.websocket.server.HandshakeRequest;
import jakarta.websocket.server.PathParam;
import jakarta.websocket.server.ServerEndpoint;
import jakarta.websocket.server.ServerEndpointConfig;
import java.nio.ByteBuffer;
import java.util.List;

/** Speaks back, and notes how it ended. */
@ServerEndpoint(value = "/socket/{id}", subprotocols = {"second", "first"}, configurator = Socket.Asked.class)
public class Socket {
    @OnOpen
    public void open(Session session, @PathParam("id") String id) {
        Heard.note(id, "open:" + session.getNegotiatedSubprotocol() + ":" + session.getUserProperties().get("asked"));
        session.setMaxTextMessageBufferSize(100_000);
        session.setMaxBinaryMessageBufferSize(2_000_000);
    }

    @OnMessage
    public String text(String message, Session session, @PathParam("id") String id) throws Exception {
        switch (message) {
            case "close" -> session.close(new CloseReason(CloseReason.CloseCodes.GOING_AWAY, "as you wish"));
            case "throw" -> throw new IllegalStateException("a secret");
            case "hurry" -> {
                // The close waits until the text is out, which another thread says.
                session.getAsyncRemote().sendText("last", result -> {});
                session.close();
                return null;
            }
            case "doze" -> {
                Heard.note(id, "dozes");
                Thread.sleep(300);
                return null;
            }
            case "flood" -> {
                for (int number = 0; number < 2000; number++) {
                    session.getBasicRemote().sendBinary(ByteBuffer.wrap(new byte[10_000]));
                }
                return "flooded";
            }
            default -> {}
        }
        return message;
    }

    @OnMessage
    public ByteBuffer bytes(ByteBuffer message) {
        return message;
    }

    @OnError
    public void error(Throwable error, @PathParam("id") String id) {
        Heard.note(id, "error");
    }

    @OnClose
    public void close(CloseReason reason, @PathParam("id") String id) throws InterruptedException {
        if (id.startsWith("slow")) {
            Thread.sleep(20);
        }
        Heard.note(id, "close:" + reason.getCloseCode().getCode());
    }

    /** Remembers what the handshake said. */
    public static class Asked extends ServerEndpointConfig.Configurator {
        @Override
        public void modifyHandshake(
                ServerEndpointConfig config, HandshakeRequest request, HandshakeResponse response) {
            config.getUserProperties().put("asked", String.valueOf(request.getQueryString()));
            response.getHeaders().put("X-Shaken", List.of("1"));
        }
    }
}
