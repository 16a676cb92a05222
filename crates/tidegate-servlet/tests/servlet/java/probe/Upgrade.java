package probe;

import jakarta.servlet.ServletInputStream;
import jakarta.servlet.ServletOutputStream;
import jakarta.servlet.annotation.WebServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import jakarta.servlet.http.HttpUpgradeHandler;
import jakarta.servlet.http.WebConnection;
import java.io.IOException;

/** Goes on in a protocol of its own. */
@WebServlet("/upgrade/*")
public class Upgrade extends Page {
    @Override
    void answer(HttpServletRequest request, HttpServletResponse response) throws Exception {
        response.setHeader("Upgrade", "x-low");
        response.setHeader("Connection", "Upgrade");
        switch (request.getPathInfo()) {
            case "/wrong" -> request.upgrade(Wrong.class);
            default -> request.upgrade(Both.class).id = request.getParameter("id");
        }
    }

    /** Reads wrongly at first. */
    public static class Wrong implements HttpUpgradeHandler {
        @Override
        public void init(WebConnection connection) {
            try (connection) {
                ServletInputStream in = connection.getInputStream();
                ServletOutputStream out = connection.getOutputStream();
                out.print(outcome(in, null, 0, 1) + " " + outcome(in, new byte[2], 3, 2) + " "
                        + outcome(in, new byte[2], 0, 1));
                out.flush();
            } catch (Exception error) {
                error.printStackTrace();
            }
        }

        @Override
        public void destroy() {}

        private static String outcome(ServletInputStream in, byte[] into, int from, int length) throws IOException {
            try {
                return in.read(into, from, length) + " bytes";
            } catch (RuntimeException error) {
                return name(error);
            }
        }
    }

    /** Has one thread that reads, and one that writes more than the connection takes. */
    public static class Both implements HttpUpgradeHandler {
        private String id;

        @Override
        public void init(WebConnection connection) {
            run(() -> {
                Heard.note(id, "read:" + connection.getInputStream().read());
                // The end of what the client has to say.
                connection.getInputStream().read();
                connection.close();
            });
            run(() -> {
                Respond.write(connection.getOutputStream(), 30_000_000);
                connection.getOutputStream().flush();
            });
        }

        @Override
        public void destroy() {}

        private static void run(Step step) {
            new Thread(() -> {
                try {
                    step.run();
                } catch (Exception error) {
                    error.printStackTrace();
                }
            }).start();
        }
    }

    private interface Step {
        void run() throws Exception;
    }
}
